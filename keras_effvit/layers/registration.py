"""The one place that knows under which name our layers are saved."""

import keras

PACKAGE = "keras_effvit"

#: Class decorator: makes a layer loadable from a `.keras` file after `import keras_effvit`.
serializable = keras.saving.register_keras_serializable(package=PACKAGE)
