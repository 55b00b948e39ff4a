"""The section `data` of a recipe: recordings and images, their split and their frames."""

from typing import Literal

from pydantic import Field, model_validator

from tmkt.recipe.section import Section


class DataRecipe(Section):
    """Recordings and images, their split, and the frames that a recording becomes
    (docs/datasets.md).
    """

    name: str  # data set (tmkt data list); folders: one of your own
    # "paper": the published split, whose images may show what is tested
    protocol: Literal["instance-disjoint", "paper"] = "instance-disjoint"
    # recorded instances a class to train on, all others are tested; 0: `train_share` of them
    shots: int = Field(default=0, ge=0)
    # of each class's instances, where `shots` is 0 and the protocol ours
    train_share: float = Field(default=0.9, gt=0.0, lt=1.0)
    # below 1: a share; else so many instances a class. Neither trained on nor tested
    validation: float = Field(default=0.0, ge=0.0)
    # of the network's input, in pixels; 0: the recordings'
    width: int = Field(default=0, ge=0, le=4096)
    height: int = Field(default=0, ge=0, le=4096)  # like width
    # another way to say it: the recordings' width and height divided by this
    downsample: int = Field(default=1, ge=1, le=4096)
    # of "folders": the camera's size, where neither its files nor a camera.toml say it
    camera_width: int = Field(default=0, ge=0, le=4096)
    camera_height: int = Field(default=0, ge=0, le=4096)  # like camera_width
    # "float": the papers' interpolated frames, which no chip takes
    frames: Literal["counts", "float"] = "counts"
    bins: int = Field(default=10, ge=1, le=1000)  # time steps of a recording
    # "float" frames have their bins of equal length over the recording instead
    bin_us: int = Field(ge=1, le=2**31)
    max_count: int = Field(default=1, ge=1, le=255)  # most events of a pixel in a bin
    # filters of events (tmkt stream --filter) that recordings pass, in order, and later the stream
    filters: list[str] = Field(default_factory=list)
    # a last class, "nothing": "none"; "generated": of simulated noise and pauses; or the folder of
    # recordings of other things by the same camera, which come beside the noise
    background: str = Field(default="none", min_length=1)
    # colour images: their value (of HSV) is taken before they are resized, not after
    value_first: bool = False
    # images: classes (folders) that are not used
    leave_out: list[str] = Field(default_factory=list)
    # images: so many of the others, drawn by train.seed; 0: all
    classes_used: int = Field(default=0, ge=0)
    # images: share of each class's training images that is used; the tested ones stay the same
    images_share: float = Field(default=1.0, gt=0.0, le=1.0)

    @property
    def images_alone(self) -> bool:
        """Tell whether the data set is one of images without recordings."""
        return self.name == "images"

    @property
    def sensor(self) -> tuple[int, int] | None:
        """(height, width) of the network's input; None where the recordings decide."""
        return (self.height, self.width) if self.width else None

    @property
    def camera(self) -> tuple[int, int] | None:
        """(height, width) of the camera where the recipe says it; None where the files do."""
        return (self.camera_height, self.camera_width) if self.camera_width else None

    @model_validator(mode="after")
    def _consistent(self) -> "DataRecipe":
        if bool(self.width) != bool(self.height):
            raise ValueError(
                f"width is {self.width} and height {self.height}; give both of them or neither"
            )
        if bool(self.camera_width) != bool(self.camera_height):
            raise ValueError(
                f"camera_width is {self.camera_width} and camera_height {self.camera_height}; give"
                " both of them or neither"
            )
        if self.camera_width and self.name != "folders":
            raise ValueError(
                f"camera_width and camera_height are for data.name = folders, the camera of"
                f" {self.name} is known; leave them out"
            )
        if self.width and self.downsample > 1:
            raise ValueError("width and height say the same as downsample; give them or downsample")
        if self.protocol == "paper" and self.shots:
            raise ValueError(
                "shots is for the instance-disjoint protocol; set data.shots=0 with"
                " data.protocol=paper"
            )
        if self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError(
                f"validation is {self.validation}, expected a share below 1 or a whole number of"
                " instances a class"
            )
        if self.filters and self.frames == "float":
            raise ValueError(
                "filters are for counts, the papers' frames take recordings as they are; leave"
                " filters out, or set frames = counts"
            )
        if self.background != "none" and self.frames == "float":
            raise ValueError(
                "a background is made of counts, data.frames = float is not; leave background out,"
                " or set frames = counts"
            )
        self._check_images()
        return self

    def _check_images(self) -> None:
        if not self.images_alone:
            if self.leave_out or self.classes_used or self.images_share < 1.0:
                raise ValueError(
                    "leave_out, classes_used and images_share are for data set images; leave them"
                    " out"
                )
            return
        if self.filters or self.background != "none":
            raise ValueError(
                "filters and background are for recordings, which data set images has not; leave"
                " them out"
            )
        if not self.width:
            raise ValueError(
                "data set images has no camera that says the size of the network's input; set"
                " data.width and data.height"
            )
        if self.shots or self.protocol == "paper" or self.downsample > 1:
            raise ValueError(
                "shots, downsample and protocol = paper are for recordings, which data set images"
                " has not; leave them out"
            )
