"""The networks of the papers; to add one, add a file with a function decorated with `@network`.

>>> from invariscope.zoo.networks import NETWORKS, build
>>> {'all_conv', 'resnet18', 'resnet50', 'simple_conv', 'vgg16'} <= set(NETWORKS.names())
True
"""

from invariscope.zoo.networks.base import NETWORKS, build, network, parameter_count

__all__ = ["NETWORKS", "build", "network", "parameter_count"]
