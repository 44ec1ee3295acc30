"""ImageNet (Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 2015)."""

from transfer.recognition.sets.folders import Folders

SET = Folders(
    "{root}/train/<class>/*.JPEG and {root}/val/<class>/*.JPEG (ILSVRC 2012, from https://image-net.org after "
    "registration), or name its folder with --data"
)
