"""Code shared by the plots: the protocol, colours, labels, and drawing with Matplotlib and Bokeh."""
