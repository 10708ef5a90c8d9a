import pickle

from fmnet.errors import Fault, TrainingError


def test_error_reaches_another_process_whole():
    faults = [Fault("a", "b", "c", "d"), Fault("e", "f", "g", "h")]
    error = TrainingError(faults)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is TrainingError
    assert again.faults == tuple(faults)
    assert str(again) == str(error)
