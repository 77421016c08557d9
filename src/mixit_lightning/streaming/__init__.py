"""Large unlabelled data: recordings packed into shards, in a folder or in object storage, and streamed from there."""
