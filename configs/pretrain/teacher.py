"""What a teacher adds: a ResNet-18 of 16 channels on 6,000 CIFAR-10 images at 96 px, for a CPU.

The teacher is EfficientNet-Lite0, trained on ImageNet with its labels (benchmark/lite0.py). ``distilled`` asks it in
every step, ``distilled_kept`` for two fixed views of each image and never again, ``distilled_learning`` has US3L's base
loss beside it. One width by itself: width_range=0.5,0.5.
"""

_base_ = ["_base_/us3l.py"]

backbone = dict(name="resnet18", stem="imagenet", base_channels=16)
data = dict(
    name="folder",
    image_size=96,
    images_per_class=600,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
)
objective = dict(hidden=512)
training = dict(epochs=10, batch_size=128, checkpoint_interval=500)
calibration = dict(batch_size=128, batches=20)

_teacher = dict(name="benchmark.lite0:efficientnet_lite0", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def _distilled(teacher: dict = _teacher, **objective) -> dict:
    return dict(
        method="distillation",
        objective=dict(_delete_=True, name="distillation", hidden=512, teacher=teacher, **objective),
    )


rows = {
    "us3l": {},
    "distilled": _distilled(),
    "distilled_kept": _distilled(_teacher | dict(fixed_views=2)),
    "distilled_learning": _distilled(base="infonce"),
}
