"""Images with boxes: samples and the files that hold them."""
