"""From what COCO's and VOC's evaluators return to the flat metrics of result.json, in percent."""

import math

from transfer.targets import TARGETS

TASKS = {"bbox": "box", "segm": "mask"}
# COCO's area ranges in square pixels (Lin et al., ECCV 2014).
AREAS = {"APs": (0, 32**2), "APm": (32**2, 96**2), "APl": (96**2, math.inf)}


def flat_metrics(
    results: dict, object_areas: tuple[float, ...], target: str = "coco", masks: bool = True
) -> dict[str, float | None]:
    """``{"bbox": {"AP": 38.3, …}, "segm": …}`` -> ``{"box/AP": 38.3, …, "mask/APl": …}``, the target's ``precisions``.

    object_areas: of the validation objects. masks: whether they were evaluated, where the target has them. None where
    no average precision is defined: no object (of that size). A detector that found nothing has an average precision of
    0 where there are objects, though pycocotools gives up.
    """
    metrics: dict[str, float | None] = {}
    for task, name in TASKS.items():
        names = TARGETS[target].precisions.get(name, ()) if masks or name != "mask" else ()
        found = results.get(task, {})
        nothing = all(math.isnan(found.get(metric, math.nan)) for metric in names)
        for metric in names:
            value = float(found.get(metric, math.nan))
            if nothing and has_objects(metric, object_areas):
                value = 0.0
            metrics[f"{name}/{metric}"] = None if math.isnan(value) else value
    return metrics


def has_objects(metric: str, object_areas: tuple[float, ...]) -> bool:
    low, high = AREAS.get(metric, (0, math.inf))
    return any(low <= area <= high for area in object_areas)


def class_metrics(results: dict, target: str = "coco", masks: bool = True) -> dict[str, dict[str, float | None]]:
    """Average precision per class: ``{"box": {"person": 52.1, …}, "mask": …}``; None for a class without objects."""
    return {
        name: {
            key.removeprefix("AP-"): None if math.isnan(value) else float(value)
            for key, value in results.get(task, {}).items()
            if key.startswith("AP-")
        }
        for task, name in TASKS.items()
        if name in TARGETS[target].precisions and (masks or name != "mask")
    }
