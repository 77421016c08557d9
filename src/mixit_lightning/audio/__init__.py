"""Audio files of any kind: finding, opening, decoding, resampling and writing them."""
