"""The figures of an evaluation as a person reads them."""

from residual_ssl.commands.report.evaluation import evaluation_text


def test_classes_come_first_in_aligned_columns_and_means_below() -> None:
    text = evaluation_text(
        {"step": 1200, "miou": 55.5, "pixel_accuracy": 91.234, "iou/road": 100.0, "iou/a/b": 11.0, "recall/road": 7.5}
    )
    assert text.splitlines() == [
        "class            IoU %  recall %",
        "road            100.00      7.50",
        "a/b              11.00         –",
        "",
        "mIoU             55.50",
        "pixel accuracy   91.23",
        "step              1200",
    ]


def test_a_task_without_figures_by_class_has_its_means_alone() -> None:
    assert evaluation_text({"step": 3, "accuracy": 50.0}).splitlines() == ["accuracy  50.00", "step          3"]
