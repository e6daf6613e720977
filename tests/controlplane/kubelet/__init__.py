"""The process kubelet: runs the containers of bound pods as processes of this machine."""
