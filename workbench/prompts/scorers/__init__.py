"""What answers a prompt: sentence models, language models, functions of a notebook cell."""
