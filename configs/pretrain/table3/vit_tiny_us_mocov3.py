"""Table 3, ViT-Tiny on CIFAR-10 at 224 px: US-Net with MoCo v3."""

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
