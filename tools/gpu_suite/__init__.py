"""All measurements that need a GPU, as one resumable command."""
