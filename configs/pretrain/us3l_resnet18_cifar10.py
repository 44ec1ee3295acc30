"""US3L, ResNet-18 with the CIFAR stem on CIFAR-10: 400 epochs of batch 512 (docs/method.md, section 5)."""

_base_ = ["_base_/us3l.py"]

backbone = dict(name="resnet18", stem="cifar")
data = dict(name="cifar10", image_size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), workers=2)
training = dict(epochs=400, batch_size=512, chunks=4)
calibration = dict(batch_size=512, batches=97)
