"""CIFAR-100, ResNet-18 with the CIFAR stem: 400 epochs of batch 512, in 4 chunks as on the paper's 4 GPUs of 128."""

backbone = dict(name="resnet18", stem="cifar")
data = dict(name="cifar100", image_size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), workers=2)
training = dict(epochs=400, batch_size=512, chunks=4)
calibration = dict(batch_size=512, batches=97)
