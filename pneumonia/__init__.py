"""Pediatric Pneumonia Image Classification: NORMAL or PNEUMONIA, and how far can the answer be believed?

Data walks through the modules one way; every arrow is a file:
folders -> catalog -> cache -> training -> predictions -> metrics -> figures -> README, notebook, slides.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # before anything imports Keras
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # of TensorFlow, only warnings and errors

__version__ = "0.1.0"
