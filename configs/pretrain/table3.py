"""Table 3: vision transformers on CIFAR-10 at 224 px, 300 epochs of MoCo v3: alone, US-Net with it, and US3L.

The mocov3 rows are those of width 1; others by width_range=0.5,0.5. In US3L's sub-networks learn by the same loss
through a predictor of their own, against the base network's keys.
"""

from dataclasses import asdict as _asdict

from pretrain.data.augmentation.settings import linear_evaluation as _linear_evaluation

method = "us+mocov3"
width_range = (0.25, 1.0)
backbone = dict(name="vit_tiny")
objective = dict(name="mocov3", keys="own", temperature=0.2, momentum=0.99, momentum_end=1.0)
sampling = dict(dynamic=False)
optimizer = dict(name="adamw", lr=1.5e-4, lr_batch=256, weight_decay=0.1, warmup_epochs=40, alpha=0.0)
data = dict(
    name="cifar10",
    image_size=224,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    views=dict(crop_scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), blur=1.0),
    second_views=dict(blur=0.1, solarize=0.2),
    workers=8,
)
training = dict(epochs=300, batch_size=512)
calibration = dict(views=_asdict(_linear_evaluation(224)))  # linear evaluation's: no norms here

_small = dict(backbone=dict(name="vit_small"))
_individual = dict(method="mocov3", width_range=(1.0, 1.0))
_us3l = dict(method="us3l", objective=dict(keys="base"), sampling=dict(dynamic=True))

rows = {
    "vit_tiny_mocov3": _individual,
    "vit_tiny_us_mocov3": {},
    "vit_tiny_us3l": _us3l,
    "vit_small_mocov3": [_small, _individual],
    "vit_small_us_mocov3": _small,
    "vit_small_us3l": [_small, _us3l],
}
