"""One process of a detection training with mmdet: the parts of a resolved config, run by mmengine's Runner."""

import uuid

import torch.distributed as dist
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope

from transfer.detection.framework import Training
from transfer.detection.job import Job
from transfer.detection.mmdet.cost import detector_cost
from transfer.detection.mmdet.evaluation import CommonEvaluation
from transfer.detection.mmdet.hooks import Saving, SeedIterations, StopAtNonFiniteLoss, WriteProgress
from transfer.detection.mmdet.loaders import evaluation_loader, training_loader
from transfer.detection.mmdet.resolution import image_size
from transfer.detection.mmdet.runner import DetectionRunner, StreamTrainLoop


class MmdetTraining(Training):
    """A detector of an mmdet config."""

    def __init__(self, job: Job, config):
        self.job, self.config = job, config
        self.images = evaluation_loader(config, job.data)
        self.metric = CommonEvaluation(job.data)
        self.runner: DetectionRunner | None = None

    def train(self, state: dict | None) -> None:
        self.runner = self.build(state, training=True)
        with DefaultScope.overwrite_default_scope("mmdet"):
            self.runner.train()

    def load(self, state: dict) -> None:
        self.runner = self.build(None, training=False)
        self.runner.load_trained(state)

    def evaluate(self) -> tuple[dict, dict]:
        with DefaultScope.overwrite_default_scope("mmdet"):
            self.runner.val()
        return self.metric.found, detector_cost(self.runner.detector, image_size(self.config))

    def final(self) -> dict:
        state = self.runner.detector.state_dict()
        return {"state_dict": state, "meta": {"dataset_meta": {"classes": list(self.job.data.classes)}}}

    def build(self, state: dict | None, training: bool) -> DetectionRunner:
        """The Runner.

        Its name is new each time: mmengine keeps the log and the scalars of a name for as long as the process lives.
        The config that it writes down, some five times, is not formatted: that takes seconds each time.
        """
        config, job = self.config, self.job
        logged = Config(config.to_dict(), filename=config.filename, format_python_code=False)
        name = f"{job.title} {uuid.uuid4().hex[:8]}".replace(" ", "_")
        # the stream has its own seed, and checkpoints are the same for all frameworks
        hooks = {**config.default_hooks, "sampler_seed": None, "checkpoint": None}
        own = []
        with DefaultScope.overwrite_default_scope("mmdet"):
            loaders = {
                "val_dataloader": self.images, "val_cfg": config.val_cfg, "val_evaluator": Evaluator([self.metric]),
            }  # fmt: skip
            if training:
                loop = {**config.train_cfg, "type": StreamTrainLoop}
                loaders.update(train_dataloader=training_loader(config, job.data), train_cfg=loop,
                               optim_wrapper=config.optim_wrapper, param_scheduler=config.param_scheduler)  # fmt: skip
                logging = config.default_hooks.get("logger") or {}
                own = [
                    SeedIterations(config.randomness.seed), StopAtNonFiniteLoss(job.folder, job.title),
                    WriteProgress(job.folder, logging.get("interval", 20)),
                    Saving(job.folder, job.title, config.default_hooks.checkpoint.interval),
                ]  # fmt: skip
            return DetectionRunner(
                job.weights, state, model=config.model, work_dir=config.work_dir, **loaders, default_hooks=hooks,
                custom_hooks=own, launcher="pytorch" if dist.is_initialized() else "none",
                env_cfg={**config.env_cfg, "cudnn_benchmark": False}, log_processor=config.log_processor,
                visualizer={**config.visualizer, "name": name}, default_scope="mmdet", randomness=config.randomness,
                experiment_name=name, cfg=logged,
            )  # fmt: skip
