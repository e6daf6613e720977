"""The node lane: a real node (kubelet, containerd, CNI, kube-proxy) in namespaces of its own runs the chart and the images as shipped."""
