"""Object detection in the layouts of PASCAL VOC and COCO."""
