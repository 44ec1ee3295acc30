"""The paper's claims in miniature: 10,000 CIFAR-10 images (1,000 a class), a ResNet-18 of a quarter of the channels
with a stride-2 stem, minutes instead of days. More iterations of a smaller network beat fewer of a larger one."""

_base_ = ["../_base_/us3l.py"]

backbone = dict(name="resnet18", stem="cifar_half", base_channels=16)
objective = dict(hidden=512, outputs=128)
data = dict(
    name="cifar10", image_size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010),
)  # fmt: skip
training = dict(epochs=3, batch_size=64, threads=1, log_interval=52, checkpoint_interval=156)
calibration = dict(widths=(1.0, 0.75, 0.5, 0.25), batch_size=128, batches=20)
monitor = dict(widths=(1.0, 0.25))
