"""Models of the Hugging Face hub in steps: `@huggingface`."""
