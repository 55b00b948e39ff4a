from tmkt.train.log import epoch_line


def test_an_epoch_is_a_line_of_80_columns() -> None:
    row, rates = {"loss": 12.3456, "accuracy": 1.0}, {"conv1": 0.102, "conv2": 1.0, "conv3": 0.5}
    line = epoch_line(1000, 1000, row, rates, 0.0123)
    assert line == (
        "epoch 1000/1000: loss 12.346, right 100.0 %, spikes 10 to 100 %, 0.012 steps/s"
    )
    assert len(line) <= 80
    assert "right 100.0 % (validation 93.2 %), spikes" in epoch_line(
        1, 2, {**row, "validation": 0.932}, rates, 3.7
    )
