"""Parts of prediction on files: tiles of large images, tables of classes, and where results are written."""
