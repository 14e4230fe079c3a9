"""What `engine doctor` looks at: whether this machine can do the job, and what to do if not."""
