"""Export of networks: files for other programs, and repositories of the Hugging Face hub."""
