"""From what detectron2's COCOEvaluator returns to the flat metrics of result.json, in percent."""

import math

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
TASKS = {"bbox": "box", "segm": "mask"}
# COCO's area ranges in square pixels (Lin et al., ECCV 2014).
AREAS = {"APs": (0, 32**2), "APm": (32**2, 96**2), "APl": (96**2, math.inf)}


def flat_metrics(results: dict, object_areas: tuple[float, ...]) -> dict[str, float | None]:
    """``{"bbox": {"AP": 38.3, …}, "segm": …}`` -> ``{"box/AP": 38.3, …, "mask/APl": …}``.

    object_areas: of the validation objects. None where COCO defines no average precision: no object of that size. A
    detector that found nothing has an average precision of 0 where there are objects, though pycocotools gives up.
    """
    metrics: dict[str, float | None] = {}
    for task, name in TASKS.items():
        found = results.get(task, {})
        nothing = all(math.isnan(found.get(metric, math.nan)) for metric in NAMES)
        for metric in NAMES:
            value = found.get(metric, math.nan)
            if nothing and has_objects(metric, object_areas):
                value = 0.0
            metrics[f"{name}/{metric}"] = None if math.isnan(value) else value
    return metrics


def has_objects(metric: str, object_areas: tuple[float, ...]) -> bool:
    low, high = AREAS.get(metric, (0, math.inf))
    return any(low <= area <= high for area in object_areas)


def class_metrics(results: dict) -> dict[str, dict[str, float | None]]:
    """Average precision per class: ``{"box": {"person": 52.1, …}, "mask": …}``; None for a class without objects."""
    return {
        name: {
            key.removeprefix("AP-"): None if math.isnan(value) else value
            for key, value in results.get(task, {}).items()
            if key.startswith("AP-")
        }
        for task, name in TASKS.items()
    }
