"""ImageNet at 224 px: ResNet-50, 100 epochs of batch 512, in 8 chunks as on the paper's 8 GPUs."""

from dataclasses import asdict as _asdict

from pretrain.data.augmentation.settings import linear_evaluation as _linear_evaluation

backbone = dict(name="resnet50", stem="imagenet")
data = dict(
    name="imagenet",
    image_size=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    views=dict(blur=0.5, blur_sigma=(0.1, 2.0)),
    workers=8,
)
training = dict(epochs=100, batch_size=512, chunks=8, checkpoint_interval=1000, log_interval=50)
calibration = dict(batch_size=512, batches=100, views=_asdict(_linear_evaluation(224)))
