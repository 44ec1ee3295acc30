"""Parameters and multiply-accumulates of mmdet's two-stage detectors, counted as detectron2's are."""

import copy

import torch
from torch import nn

from pretrain.common.shapes import shapes_only
from transfer.detection.counting import counting

PADDING = 32  # sides are padded to multiples of it


def detector_cost(model: nn.Module, image_size: int) -> dict:
    """Cost on a square image of ``image_size`` pixels; the same keys as ``transfer.detection.detectron2.cost`` gives.

    The box head is counted on as many regions as the proposal network keeps in evaluation, the mask head on as many as
    an image may have detections.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    side = -(-image_size // PADDING) * PADDING
    heads, proposals = shadow.roi_head, shadow.test_cfg.rpn.max_per_img
    detections, parts = shadow.test_cfg.rcnn.max_per_img, {}
    with torch.no_grad(), shapes_only():
        with counting(parts, "backbone"):
            features = shadow.extract_feat(torch.empty(1, 3, side, side))
        with counting(parts, "proposals"):
            shadow.rpn_head(features)
        with counting(parts, "boxes"):
            heads.bbox_head(regions(proposals, heads.bbox_roi_extractor))
        if heads.with_mask:
            with counting(parts, "masks"):
                heads.mask_head(regions(detections, heads.mask_roi_extractor))
    return {
        "params": sum(p.numel() for p in model.parameters()), "macs": sum(parts.values()), "parts": parts,
        "image_size": side, "proposals": proposals, "detections": detections,
    }  # fmt: skip


def regions(count: int, extractor: nn.Module) -> torch.Tensor:
    """What a region extractor gives a head: [count, C, h, w] on the meta device."""
    return torch.empty(count, extractor.out_channels, *extractor.roi_layers[0].output_size, device="meta")
