"""From corpora as they are delivered to exact sets of mixtures, and the doctor, who finds what is wrong with a set."""
