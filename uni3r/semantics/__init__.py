"""Words and pixels in one space: teachers, text encoders, label sets, and queries by any words."""

from uni3r.semantics.label_teacher import LabelTeacher
from uni3r.semantics.labels import UNLABELLED, LabelSet, SemanticClass, label_set_of_words, load_label_set
from uni3r.semantics.query import CANONICAL_NEGATIVES, LOGIT_SCALE, Query, resize_logits, text_logits
from uni3r.semantics.teacher import Teacher, TextSide
from uni3r.semantics.text_encoder import BARE_WORD, TextEncoder, embed_words

__all__ = [
    "BARE_WORD",
    "CANONICAL_NEGATIVES",
    "LOGIT_SCALE",
    "UNLABELLED",
    "LabelSet",
    "LabelTeacher",
    "Query",
    "SemanticClass",
    "Teacher",
    "TextEncoder",
    "TextSide",
    "embed_words",
    "label_set_of_words",
    "load_label_set",
    "resize_logits",
    "text_logits",
]
