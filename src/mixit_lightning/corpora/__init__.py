"""Making exact sets of mixtures from published corpora, and the doctor, which finds what is wrong with a set."""
