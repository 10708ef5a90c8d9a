from fmnet.api.classifier import SignatureClassifier as SignatureClassifier
from fmnet.api.loaded import Signature as Signature
from fmnet.api.loaded import load as load
from fmnet.api.whole_study import Study as Study
from fmnet.api.whole_study import study as study

__version__: str
__all__ = ["Signature", "SignatureClassifier", "Study", "load", "study"]
