"""A detection recipe at another image size: what is measured in pixels, and how many proposals a picture deserves."""

from transfer.detection.proposals import count_at


def image_size(dataloader) -> int:
    """The shorter side of the evaluated images, in pixels."""
    return int(dataloader.test.mapper.augmentations[0].short_edge_length)


def scale_to(model, dataloader, size: int) -> None:
    """Change a LazyConfig's ``model`` and ``dataloader`` to images whose shorter side is ``size`` pixels.

    With r = size / the recipe's own size: image sides (the training sizes, the longest side) and anchors are
    multiplied by r. So are the numbers of anchors and regions that are drawn for the losses and of proposals before
    and after suppression, of which at least ``MINIMUM_PROPOSALS`` are kept: a smaller picture has fewer places, but
    objects as many as before.
    """
    ratio = size / image_size(dataloader)

    def sides(value):
        return round(value * ratio)

    def counts(value):
        return count_at(ratio, value)

    train, test = dataloader.train.mapper.augmentations[0], dataloader.test.mapper.augmentations[0]
    train.short_edge_length = [sides(s) for s in train.short_edge_length]
    train.max_size, test.max_size = sides(train.max_size), sides(test.max_size)
    test.short_edge_length = size
    generator, anchors = model.proposal_generator, model.proposal_generator.anchor_generator
    anchors.sizes = [[s * ratio for s in level] for level in anchors.sizes]
    generator.pre_nms_topk = [counts(n) for n in generator.pre_nms_topk]
    generator.post_nms_topk = [counts(n) for n in generator.post_nms_topk]
    generator.batch_size_per_image = counts(generator.batch_size_per_image)
    model.roi_heads.batch_size_per_image = counts(model.roi_heads.batch_size_per_image)
