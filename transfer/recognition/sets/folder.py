"""Any folder of images that --data names."""

from transfer.recognition.sets.folders import Folders

SET = Folders(beside=False)
