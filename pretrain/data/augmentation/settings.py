"""What an augmentation is, as settings. A view is an image that was augmented once.

Every view is a pure function of (seed, epoch, sample index, view), whoever computes it and when. So a run does not
depend on the number of loader workers, and a resumed run continues inside an epoch with the views that the interrupted
one would have seen. parameters.py draws the random numbers of a view, geometry.py and colour.py apply them.
"""

from typing import Annotated, Literal

from pydantic import Field
from torchvision.transforms import InterpolationMode, v2

from pretrain.common.settings import NotNegative, Ordered, PositiveFloat, PositiveShare, Share, read, settings

SMALL = 64  # px, the largest image that is treated as CIFAR's are
INTERPOLATIONS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


@settings
class Augmentation:
    """Parameters of the augmentation, in the order of application; probabilities of 0 leave a step out.

    crop_scale, crop_ratio: area share and aspect ratio of RandomResizedCrop. interpolation: of resizing. rotation:
    degrees to either side. flip: probability of a mirrored view. jitter: brightness, contrast, saturation, hue.
    jitter_p, grayscale, blur: probabilities of the steps of that name. blur_sigma: of the Gaussian, in pixels.
    solarize: probability that values from 128 up are inverted.
    """

    crop_scale: Annotated[tuple[PositiveShare, PositiveShare], Ordered] = (0.2, 1.0)
    crop_ratio: Annotated[tuple[PositiveFloat, PositiveFloat], Ordered] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    flip: Share = 0.5
    jitter: tuple[NotNegative, NotNegative, NotNegative, Annotated[float, Field(ge=0, le=0.5)]] = (0.4, 0.4, 0.4, 0.1)
    jitter_p: Share = 0.8
    grayscale: Share = 0.2
    blur: Share = 0.0
    blur_sigma: Annotated[tuple[PositiveFloat, PositiveFloat], Ordered] = (0.1, 2.0)
    solarize: Share = 0.0

    def transform(self, image_size: int) -> v2.Compose:
        """The same steps by torchvision, which draws from torch's global generator: uint8 [3, H, W] -> [3, S, S]."""
        mode = INTERPOLATIONS[self.interpolation]
        crop = v2.RandomResizedCrop(image_size, self.crop_scale, self.crop_ratio, mode, antialias=True)
        steps = [
            (self.rotation > 0, v2.RandomRotation(self.rotation, InterpolationMode.BILINEAR)),
            (True, crop),
            (self.flip > 0, v2.RandomHorizontalFlip(self.flip)),
            (self.jitter_p > 0, v2.RandomApply([v2.ColorJitter(*self.jitter)], self.jitter_p)),
            (self.grayscale > 0, v2.RandomGrayscale(self.grayscale)),
            (self.blur > 0, v2.RandomApply([v2.GaussianBlur(blur_kernel(image_size), self.blur_sigma)], self.blur)),
            (self.solarize > 0, v2.RandomSolarize(128, self.solarize)),
        ]
        return v2.Compose([step for used, step in steps if used])


def blur_kernel(image_size: int) -> int:
    """A tenth of the image, odd, at least 3 px."""
    return max(3, image_size // 10 // 2 * 2 + 1)


def usual_interpolation(image_size: int) -> str:
    """How images are resized to ``image_size`` where nothing else is asked for."""
    return "bicubic" if image_size <= SMALL else "bilinear"


def linear_evaluation(image_size: int) -> Augmentation:
    """The training views of linear evaluation: CIFAR's for small images, ImageNet's for others (docs/method.md)."""
    scale = (0.8 if image_size <= SMALL else 0.08, 1.0)
    return Augmentation(crop_scale=scale, interpolation=usual_interpolation(image_size), jitter_p=0.0, grayscale=0.0)


def recorded_augmentation(views: dict) -> Augmentation:
    """What a checkpoint says of the views that it was calibrated with. UserError where that is no augmentation."""
    return read(Augmentation, views, "the checkpoint's calibration.views")
