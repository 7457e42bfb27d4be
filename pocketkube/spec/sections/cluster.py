"""The spec's section cluster: where a job's tasks run on Kubeflow, and with what."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pocketkube.spec.settings import Count, Place, Settings

# As both Kubernetes and Kubeflow Pipelines read them.
Cpus = Annotated[str, Field(pattern=r"^([0-9]+m|[0-9]+(\.[0-9]+)?)$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(M|G|T|Ki|Mi|Gi|Ti)?$")]

# Whoever follows a job reads from it how it ended, and its log: it must not go at once.
_KEPT_S = 60


class Toleration(Settings):
    """A taint of nodes that pods put up with, as in Kubernetes."""

    key: str = Field("", description="The taint's key; any if empty, with operator Exists.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="Equal compares the value.")
    value: str = Field("", description="The taint's value.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="The taint's effect; all if empty."
    )


class Pods(Settings):
    """What pods ask for, and which nodes they may have."""

    cpu: Cpus | None = Field(None, description="CPUs, as in 4 or 500m; request and limit.")
    memory: Quantity | None = Field(None, description="Memory, as in 8Gi; request and limit.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are put up with.")

    @property
    def resources(self) -> dict[str, str]:
        """What is asked for, by Kubernetes's names."""
        asked = {"cpu": self.cpu, "memory": self.memory}
        return {name: amount for name, amount in asked.items() if amount}

    @property
    def selected(self) -> dict[str, str]:
        """All labels that a node must have."""
        return self.node_selector

    @property
    def tolerated(self) -> tuple[Toleration, ...]:
        """All that the pods tolerate."""
        return self.tolerations


# The label, and the taint of clouds, of a node's architecture; and that of the image of tasks.
ARCH = "kubernetes.io/arch"
OF_OUR_IMAGE = {ARCH: "amd64"}
GPU = "nvidia.com/gpu"


class _OfOurImage(Pods):
    """Pods that run the image of tasks."""

    node_selector: dict[str, str] = Field(
        {},
        description="Labels that a node must have; kubernetes.io/arch is amd64, as the image is, where "
        "it is not among them.",
    )
    gpus: int = Field(0, ge=0, description="GPUs (nvidia.com/gpu).")

    @property
    def resources(self) -> dict[str, str]:
        """Beside CPUs and memory, GPUs."""
        return super().resources | ({GPU: str(self.gpus)} if self.gpus else {})

    @property
    def selected(self) -> dict[str, str]:
        """Beside `node_selector`, the architecture of the image."""
        return {**OF_OUR_IMAGE, **self.node_selector}


class TaskPods(_OfOurImage):
    """The pod of one task of a pipeline."""

    retries: int = Field(
        2,
        ge=0,
        description="How often a task begins again whose pod was lost; it goes on from its checkpoint.",
    )
    timeout_minutes: Count | None = Field(None, description="The task is ended after so long.")


class Elastic(Settings):
    """Between which bounds the number of workers may change while they train."""

    min_workers: Count = Field(1, description="Fewer, and training waits.")
    max_workers: Count = Field(description="More are not used.")

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.max_workers < self.min_workers:
            raise ValueError(
                f"max_workers {self.max_workers} is fewer than min_workers {self.min_workers}"
            )
        return self


class WorkerPods(_OfOurImage):
    """The workers of an MPIJob, one pod each; training.workers says how many processes there are."""

    slots: Count = Field(1, description="Processes in one pod.")
    shared_memory: Quantity | None = Field(
        None, description="Size of /dev/shm, as in 2Gi; the node's default if unset."
    )
    affinity: dict[str, Any] = Field({}, description="A pod's affinity, as Kubernetes has it.")
    secrets: tuple[Place, ...] = Field(
        (), description="Secrets whose keys become environment variables of the pods."
    )
    image_pull_secrets: tuple[Place, ...] = Field((), description="Secrets to pull the image with.")
    elastic: Elastic | None = Field(
        None, description="Lets workers come and go: training goes on from its last checkpoint."
    )
    backoff_limit: int = Field(0, ge=0, description="How often a failed launcher is started again.")
    deadline_minutes: Count | None = Field(None, description="The job is ended after so long.")
    pending_seconds: Count = Field(
        600,
        description="A job is given up whose pods find no node, no quota or no image for so long.",
    )
    ttl_seconds: int = Field(
        3600,
        ge=_KEPT_S,
        description="The launcher's pod and log go so long after the end; the job goes with its run.",
    )
    clean_pods: Literal["Running", "All", "None"] = Field(
        "Running", description="Whose pods go when the job has ended, as MPIJob's cleanPodPolicy."
    )
    queue: str | None = Field(None, description="Kueue's local queue, in which the job waits.")
    suspend: bool = Field(False, description="The job begins suspended: others resume it.")


class BenchmarkPods(Pods):
    """The nodes on which LiteRT files are measured, and what they have to be."""

    cpu: Annotated[str, Field(pattern=r"^[1-9][0-9]*$")] = Field(
        "2", description="Whole CPUs, which the pod has for itself."
    )
    memory: Quantity = Field("2Gi", description="Memory; request and limit.")
    arch: Literal["any", "arm64", "amd64"] = Field(
        "any",
        description="The nodes' architecture; any measures where the task itself runs, unless "
        "node_selector names other nodes.",
    )
    nodes: Count = Field(
        1, description="On how many different nodes it is measured; results are merged."
    )
    cpu_part: str = Field(
        "",
        pattern=r"^(0x[0-9a-f]+)?$",
        description="The core that is asked for, as /proc/cpuinfo has it: 0xd0b is Cortex-A76.",
    )
    features: tuple[Place, ...] = Field(
        (),
        description="Features that the core must have, as /proc/cpuinfo calls them (asimddp, i8mm, "
        "sve), or fp16.",
    )
    image_pull_secrets: tuple[Place, ...] = Field((), description="Secrets to pull the image with.")
    environment: dict[str, str] = Field({}, description="More environment variables of the pods.")
    timeout_minutes: Count = Field(
        60, description="Measuring is given up after so long, not counting the wait for a node."
    )
    pending_seconds: Count = Field(
        600,
        description="It is given up, too, where a pod finds no node, no quota or no image for so long.",
    )
    ttl_seconds: int = Field(
        3600, ge=_KEPT_S, description="A Job that failed is removed after so long."
    )

    @property
    def selected(self) -> dict[str, str]:
        """Beside `node_selector`, the architecture."""
        arch = {} if self.arch == "any" else {ARCH: self.arch}
        return {**arch, **self.node_selector}

    @property
    def tolerated(self) -> tuple[Toleration, ...]:
        """Beside `tolerations`, the taint by which clouds keep pods for amd64 off their ARM nodes."""
        if self.arch == "any":
            return self.tolerations
        return (
            *self.tolerations,
            Toleration(key=ARCH, value=self.arch, effect="NoSchedule"),
        )


class Trials(Settings):
    """Where a search's trials run; each of their pods asks for what a worker asks for."""

    launcher: Literal["inline", "katib"] = Field(
        "inline",
        description="As processes in the task's own pod, or as pods of a Katib Experiment "
        "(kubeflow.org/v1beta1).",
    )
    workers: Count = Field(
        1,
        description="Processes that share a trial's fine-tuning under Katib: with more than one, each "
        "trial is an MPIJob.",
    )
    max_failed: Count = Field(
        3, description="With so many trials failed under Katib, the search is given up."
    )
    early_stopping: bool = Field(
        False,
        description="Has Katib end trials whose score stays below the mean of earlier ones at the same "
        "part of their fine-tuning (medianstop); evaluate.fine_tune_steps is 5 or more then.",
    )
    resume: Literal["Never", "LongRunning"] = Field(
        "Never",
        description="With LongRunning the Experiment can be given more trials after its end, by its "
        "maxTrialCount.",
    )
    remove_when_cancelled: bool = Field(
        True, description="Whether the Experiment goes where the task that follows it is ended."
    )


USUAL_WORK = "s3://mlpipeline/pocketkube"


class ObjectStore(Settings):
    """The S3 server of tasks and workers; keys stay in a Secret."""

    endpoint: str = Field(
        "",
        description="Its URL; unset, what the ConfigMap pocketkube-object-store says (key endpoint).",
    )
    secret: Place = Field(
        "mlpipeline-minio-artifact", description="The Secret with accesskey and secretkey."
    )
    work: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9.-]+(/[!-.0-~]+)+/?)?$",
        description="Where checkpoints are kept, and what tasks and workers hand each other; unset, "
        f"what that ConfigMap says (key work), else {USUAL_WORK}.",
    )


class Cluster(Settings):
    """Where a job's tasks run on Kubeflow, and with what. It changes no result."""

    launcher: Literal["inline", "mpijob", "trainjob"] = Field(
        "inline",
        description="Where training is shared among training.workers processes: in the task's own pod, "
        "as an MPIJob (kubeflow.org/v2beta1), or as a TrainJob (trainer.kubeflow.org/v1alpha1).",
    )
    image: str = Field("", description="The image of workers; unset, the task's own.")
    benchmark_image: str = Field(
        "pocketkube-benchmark:0.1.0", description="The image with which other nodes measure."
    )
    service_account: str = Field("", description="The workers' service account; the default if unset.")
    runtime: Place = Field("pocketkube-mpi", description="A TrainJob's ClusterTrainingRuntime.")
    object_store: ObjectStore = Field(ObjectStore(), description="The S3 server, and its keys' Secret.")
    task: TaskPods = Field(TaskPods(), description="The pods of all tasks.")
    tasks: dict[str, TaskPods] = Field(
        {},
        description="The pods of single steps, as in {train_model: {memory: 16Gi}}; instead of task. "
        "A name is a step's, as 2_fine_tune, or its stage's, as fine_tune_model.",
    )
    workers: WorkerPods = Field(WorkerPods(), description="The pods of workers.")
    trials: Trials = Field(Trials(), description="Where a search's trials run.")
    benchmark: BenchmarkPods = Field(BenchmarkPods(), description="The nodes that measure.")

    def pods_of(self, step: str, stage: str) -> TaskPods:
        """What the pod of a step asks for.

        Args:
            step: The step's key, as in 2_fine_tune.
            stage: Its stage's name, which stands for all steps of it.
        """
        return self.tasks.get(step) or self.tasks.get(stage) or self.task
