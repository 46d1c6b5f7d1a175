// One image of the camera, where the browser has one and lets the page use it.

import {part} from "/page/dom.js";
import {take} from "/page/image.js";

let stream = null;

export function begin(report) {
  part("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  part("camera").addEventListener("click", async () => {
    try {
      stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
    } catch (error) {
      report(new Error(`The camera cannot be used: ${error.message}`));
      return;
    }
    part("video").srcObject = stream;
    part("viewfinder").showModal();
  });
}

function shoot() {
  const video = part("video"), sheet = document.createElement("canvas");
  sheet.width = video.videoWidth;
  sheet.height = video.videoHeight;
  sheet.getContext("2d").drawImage(video, 0, 0);
  sheet.toBlob(blob => take(new File([blob], "camera.jpg", {type: "image/jpeg"})), "image/jpeg", 0.95);
  part("viewfinder").close();
}

part("shoot").addEventListener("click", shoot);
part("leave").addEventListener("click", () => part("viewfinder").close());
part("viewfinder").addEventListener("close", () => {
  for (const track of stream?.getTracks() ?? []) track.stop();
  part("video").srcObject = stream = null;
});
