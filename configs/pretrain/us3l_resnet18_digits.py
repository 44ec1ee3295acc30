"""The embedded default, for demonstrations: ResNet-18 (ImageNet stem) on scikit-learn's digits at 32 px."""

_base_ = ["_base_/us3l.py"]

backbone = dict(name="resnet18", stem="imagenet")
data = dict(
    name="digits",
    image_size=32,
    mean=(0.309, 0.309, 0.309),
    std=(0.350, 0.350, 0.350),
    # a digit mirrored is another sign, and colour says nothing: shift, scale, tilt and contrast instead
    views=dict(crop_scale=(0.5, 1.0), rotation=15.0, flip=0.0, jitter=(0.4, 0.4, 0.0, 0.0), grayscale=0.0),
)
training = dict(epochs=8, batch_size=64, log_interval=11, checkpoint_interval=44)
calibration = dict(batch_size=64, batches=22, views=dict(flip=0.0))
