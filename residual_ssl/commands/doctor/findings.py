"""What can be wrong with a data set, by kinds."""

from __future__ import annotations

from dataclasses import dataclass

#: Kinds of findings with what each means. Files of the first are left out by the list that the doctor writes.
FAULTS = {
    "missing": "the file is not there, or a link leads nowhere",
    "no file": "a folder, a pipe or a device has the name of an image",
    "permission": "the file may not be read",
    "empty": "the file has 0 bytes",
    "truncated": "the file is cut off",
    "unreadable": "the file is damaged, or no image",
    "bit depth": "the image has more than 8 bits a channel",
    "bands": "the image has a fourth band that is no alpha",
    "pages": "the file has several pages",
    "too large": "the image has so many pixels that reading it is refused",
    "mode": "the mask holds colours, not class ids",
    "size": "image and mask are of different sizes",
    "orientation": "the image is turned by its EXIF orientation, and its mask may not be",
    "ids": "the mask has ids that the specification does not know",
    "no label": "a labelled or validation sample has no label at all",
    "leak": "the content of a validation sample is in a training set, too",
    "contradiction": "two samples of equal content have different labels",
}
REMARKS = {
    "copy": "samples of one set have equal content",
    "labelled twice": "the content of a labelled sample is in the unlabelled set, too",
    "outside": "the file lies outside the data set's folder",
    "one colour": "all pixels of the image are the same",
    "not used": "a file beside those of the data set that no subset has",
    "class without label": "no point of the set has this label",
    "rare class": "fewer than one in 10,000 labelled points of the set",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd.

    Attributes:
        kind: a key of :data:`FAULTS` or :data:`REMARKS`.
        subset: ``"labelled"``, ``"unlabelled"``, ``"validation"``, or empty for a file of none.
        name: of the sample, of the file, or of the class.
        text: what was found, with what to do where that is not plain.
    """

    kind: str
    subset: str
    name: str
    text: str

    @property
    def is_fault(self) -> bool:
        """Whether it stops a training, or makes its results wrong; else it is a remark."""
        return self.kind in FAULTS
