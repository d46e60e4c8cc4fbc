"""The job: landmarks in, six pose columns out."""
