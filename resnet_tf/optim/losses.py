"""Cross entropy from logits and class numbers or shares of classes, with label smoothing of either form."""

import keras
from keras import ops

from resnet_tf.presets.optimizer import LossSpec


@keras.saving.register_keras_serializable(package="resnet_tf")
class CrossEntropy(keras.losses.Loss):
    """Cross entropy of labels int [batch] or [batch, 1] and logits float [batch, classes], averaged over the batch.

    Labels may also be the share of each class, float [batch, classes]: the loss of two classes with shares s and 1 - s
    is s x the one's + (1 - s) x the other's.

    Both forms of label smoothing give the true class 1 - s + s/K and each other class s/K, with K classes; "keras" has
    s = e and "others" has s = e K/(K - 1). The smoothed cross entropy is the plain one plus s x (the true class's
    logit - the mean logit), so labels need not become one-hot rows, and s = 0 costs nothing.

    Args:
        label_smoothing: the probability e, 0 to below 1.
        smoothing_form: "keras" or "others".
    """

    def __init__(self, label_smoothing: float = 0.0, smoothing_form: str = "keras", **keywords):
        super().__init__(**keywords)
        self.label_smoothing = label_smoothing
        self.smoothing_form = smoothing_form

    def call(self, y_true, y_pred):
        if len(y_true.shape) == 2 and y_true.shape[-1] != 1:
            return self._of_shares(y_true, y_pred)
        labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))  # Keras may give [batch, 1]
        loss = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        if self.label_smoothing == 0:
            return loss
        true_logits = ops.squeeze(ops.take_along_axis(y_pred, labels[:, None], axis=-1), axis=-1)
        return loss + self._smoothing(true_logits, y_pred)

    def _of_shares(self, shares, y_pred):
        loss = ops.categorical_crossentropy(shares, y_pred, from_logits=True)
        if self.label_smoothing == 0:
            return loss
        return loss + self._smoothing(ops.sum(shares * y_pred, axis=-1), y_pred)

    def _smoothing(self, true_logits, y_pred):
        """Returns what the smoothed cross entropy adds to the plain one, [batch]."""
        classes = y_pred.shape[-1]
        spread = classes / (classes - 1) if self.smoothing_form == "others" else 1.0
        return self.label_smoothing * spread * (true_logits - ops.mean(y_pred, axis=-1))

    def get_config(self) -> dict:
        smoothing = {"label_smoothing": self.label_smoothing, "smoothing_form": self.smoothing_form}
        return {**super().get_config(), **smoothing}


def build_loss(spec: LossSpec) -> CrossEntropy:
    """Returns the Keras loss of a spec."""
    return CrossEntropy(spec.label_smoothing, spec.smoothing_form, name="cross_entropy")
