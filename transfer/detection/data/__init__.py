"""Data sets that detectors are trained on, one module a layout: ``read`` checks one, ``name_of`` names it."""

from transfer.detection.data.coco import CocoData
from transfer.detection.data.voc import VocData

Data = CocoData | VocData
__all__ = ["CocoData", "Data", "VocData"]
