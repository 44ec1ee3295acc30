"""Table 7: the design of the loss, ResNet-18 on CIFAR-100: four networks an iteration, no dynamic sampling and no group
regularisation. Base MSE brings its own optimizer settings along."""

_base_ = ["_base_/us3l.py", "_base_/cifar100_resnet18.py"]

sampling = dict(dynamic=False)
optimizer = dict(alpha=0.0)


def case(base, distill, aux_head, momentum_base, momentum_sub):
    simsiam = dict(optimizer=dict(lr=0.05, weight_decay=5e-4)) if base == "mse" else {}
    return dict(
        objective=dict(
            base=base, distill=distill, aux_head=aux_head, momentum_base=momentum_base, momentum_sub=momentum_sub
        ),
        **simsiam,
    )


rows = {
    #              base       distill    head g  momentum targets of the base, of the sub-networks
    "case01": case("mse",     "none",    False,  False, False),  # SimSiam at each width by itself: collapses
    "case02": case("mse",     "mse",     False,  False, False),  # US+SimSiam
    "case03": case("mse",     "mse",     False,  True,  True),   # US+BYOL
    "case04": case("mse",     "mse",     True,   True,  True),
    "case05": case("mse",     "infonce", False,  False, False),
    "case06": case("mse",     "infonce", False,  False, True),
    "case07": case("mse",     "infonce", False,  True,  True),
    "case08": case("mse",     "infonce", True,   True,  True),   # the "US3L" of Table 1
    "case09": case("infonce", "none",    False,  False, False),  # SimCLR at each width by itself
    "case10": case("infonce", "mse",     False,  False, False),
    "case11": case("infonce", "mse",     False,  False, True),
    "case12": case("infonce", "mse",     False,  True,  True),
    "case13": case("infonce", "mse",     True,   True,  True),   # US3L's losses
    "case14": case("infonce", "infonce", False,  False, False),  # US+SimCLR
    "case15": case("infonce", "infonce", False,  False, True),
    "case16": case("infonce", "infonce", False,  True,  True),
    "case17": case("infonce", "infonce", True,   True,  True),
}  # fmt: skip
