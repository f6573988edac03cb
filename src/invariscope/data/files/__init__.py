"""Data from files: folders of images, arrays, texts, tables, archives, and Hugging Face data sets."""
