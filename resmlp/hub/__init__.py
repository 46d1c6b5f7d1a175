"""What a MODEL string means, and files of the Hugging Face hub."""
