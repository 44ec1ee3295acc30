"""Table 1: S-Net with labels: four widths with batch norms of their own, 200 epochs, linear evaluation's views."""

_base_ = ["../_base_/cifar100_resnet18.py"]

method = "supervised-s-net"
backbone = dict(private_norms=(1.0, 0.75, 0.5, 0.25))
objective = dict(name="supervised", distill=False)
sampling = dict(widths=(1.0, 0.75, 0.5, 0.25))
optimizer = dict(lr=1.0, weight_decay=1e-4, alpha=0.0)
data = dict(views=dict(crop_scale=(0.8, 1.0), interpolation="bicubic", jitter_p=0.0, grayscale=0.0))
training = dict(epochs=200)
