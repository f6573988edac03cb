"""Actions of a transform's elements on the responses of a layer."""
