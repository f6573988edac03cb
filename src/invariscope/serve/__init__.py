"""A local web server for browsing many saved results; `invariscope serve` starts it."""
