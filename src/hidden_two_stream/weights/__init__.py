"""Published weights: the authors' Caffe files, torchvision's state dicts, and shipped motion weights."""
