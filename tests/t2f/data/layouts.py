"""A small source of every format, laid out as its authors publish it: random pictures, captions of our own."""

import io
import json
import pickle
import tarfile

import numpy as np
from PIL import Image

SIDE = 16
NUM_IMAGES = 8
CELEBA_NAMES = (
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips"),
    *("Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby"),
    *("Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male"),
    *("Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose"),
    *("Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair"),
    *("Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young"),
)
LFW_NAMES = ("Male", "Asian", "Senior", "Black Hair", "Gray Hair", "Eyeglasses", "Smiling", "Wearing Hat", "No Beard")
SPLITS = ("train", "train", "train", "train", "validation", "validation", "test", "test")


def picture_bytes(number, format="JPEG", side=SIDE):
    """Another picture for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def write_picture(path, number, side=SIDE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture_bytes(number, "PNG" if path.suffix.lower() == ".png" else "JPEG", side))


def write_text(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def write_imagefolder(root):
    lines = []
    for number in range(NUM_IMAGES):
        write_picture(root / f"{number}.png", number)
        lines.append(json.dumps({"file_name": f"{number}.png", "text": f"face {number}", "split": SPLITS[number]}))
    write_text(root / "metadata.jsonl", "\n".join(lines) + "\n")


def write_csv(root):
    lines = ["file_name,caption,split"]
    for number in range(NUM_IMAGES):
        write_picture(root / "faces" / f"{number}.jpg", number)
        lines.append(f'faces/{number}.jpg,"a face, number {number}",{SPLITS[number]}')
    write_text(root / "captions.csv", "\r\n".join(lines) + "\r\n")


def write_sidecar(root):
    for number in range(NUM_IMAGES):
        write_picture(root / "a" / f"{number}.png", number)
        write_text(root / "a" / f"{number}.txt", f"a face\nface number {number}\n")


def tar_of(path, members):
    """members: (name, bytes) pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_webdataset(root):
    for split, numbers in (("train", range(4)), ("val", range(4, 6)), ("test", range(6, 8))):
        members = []
        for number in numbers:
            members.append((f"{number:04d}.jpg", picture_bytes(number)))
            members.append((f"{number:04d}.txt", f"face {number}".encode()))
            members.append((f"{number:04d}.json", json.dumps({"width": SIDE, "url": "about:blank"}).encode()))
        tar_of(root / f"faces-{split}-0000.tar", members)


def write_coco(root):
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        images, annotations = [], []
        for number in numbers:
            name = f"{number:012d}.jpg"
            write_picture(root / f"{split}2017" / name, number)
            images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
            for place in range(2):
                annotations.append({"id": 10 * number + place, "image_id": number, "caption": f"face {number} {place}"})
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
        write_text(root / "annotations" / f"captions_{split}2017.json", json.dumps(content))


def write_flickr8k(root):
    lines = []
    for number in range(NUM_IMAGES):
        write_picture(root / "Flicker8k_Dataset" / f"{number}_a.jpg", number)
        lines += [f"{number}_a.jpg#{place}\tface {number} , seen {place} times ." for place in range(5)]
    lines.append("99_a.jpg.1#0\tan entry like the one that reads so in the data set .")
    write_text(root / "Flickr8k.token.txt", "\n".join(lines) + "\n")
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        names = [f"{number}_a.jpg\n" for number in range(NUM_IMAGES) if SPLITS[number] == split]
        write_text(root / f"Flickr_8k.{name}Images.txt", "".join(names))


def write_flickr8k_of_kaggle(root):
    lines = ["image,caption"]
    for number in range(NUM_IMAGES):
        write_picture(root / "Images" / f"{number}_a.jpg", number)
        lines += [f"{number}_a.jpg,a face", f'{number}_a.jpg,"a face, number ""{number}"""']
    write_text(root / "captions.txt", "\n".join(lines) + "\n")


def write_face2text(root):
    entries = []
    for number in range(NUM_IMAGES):
        person = f"Ann_B{number}"
        write_picture(root / "lfw" / person / f"{person}_0001.jpg", number, side=130)
        texts = [f"a face , number {number}", "with 2 5 years"]
        descriptions = [{"desc_id": 10 * number + place, "text": text} for place, text in enumerate(texts)]
        entries.append({"img_id": number, "image": f"{person}/{person}_0001.bmp", "descriptions": descriptions})
    write_text(root / "clean.json", json.dumps(entries))


def write_face2text_21(root):
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        entries = []
        for number in (number for number in range(NUM_IMAGES) if SPLITS[number] == split):
            write_picture(root / "img_align_celeba" / f"{number:06d}.jpg", number)
            for place in range(2):
                entry = {"response_id": f"{number}{place}", "filename": f"{number:06d}.jpg", "user_id": "7"}
                entries.append(entry | {"description": f"face {number}, response {place}"})
        write_text(root / f"clean_{name}_2.1.json", json.dumps(entries))


def write_lfw(root):
    rows = ["# the attributes of a test", "#\tperson\timagenum\t" + "\t".join(LFW_NAMES)]
    for number in range(NUM_IMAGES):
        person = f"Ann Marie_{number}" if number else "Aaron B C"
        folder = person.replace(" ", "_")
        write_picture(root / "lfw" / folder / f"{folder}_0001.jpg", number, side=130)
        values = [f"{(-1) ** (number >> place) * 1.25}" for place in range(len(LFW_NAMES))]
        rows.append("\t".join([person, "1", *values]))
    write_text(root / "lfw_attributes.txt", "\n".join(rows) + "\n")


def celeba_values(number):
    return [1 if (number * 7 + place * 3) % 5 == 0 else -1 for place in range(len(CELEBA_NAMES))]


def write_celeba(root):
    attributes = [f"{NUM_IMAGES}", " ".join(CELEBA_NAMES) + " "]
    partition, identities = [], []
    for number in range(NUM_IMAGES):
        name = f"{number + 1:06d}.jpg"
        write_picture(root / "Img" / "img_align_celeba" / name, number)
        attributes.append(f"{name} " + " ".join(f"{value:2d}" for value in celeba_values(number)))
        partition.append(f"{name} {('train', 'validation', 'test').index(SPLITS[number])}")
        identities.append(f"{name} {2000 + number}")
    write_text(root / "Anno" / "list_attr_celeba.txt", "\n".join(attributes) + "\n")
    write_text(root / "Eval" / "list_eval_partition.txt", "\n".join(partition) + "\n")
    write_text(root / "Anno" / "identity_CelebA.txt", "\n".join(identities) + "\n")


def write_celeba_of_kaggle(root):
    attributes = ["image_id," + ",".join(CELEBA_NAMES)]
    partition = ["image_id,partition"]
    for number in range(NUM_IMAGES):
        name = f"{number + 1:06d}.jpg"
        write_picture(root / "img_align_celeba" / "img_align_celeba" / name, number)
        attributes.append(f"{name}," + ",".join(str(value) for value in celeba_values(number)))
        partition.append(f"{name},{('train', 'validation', 'test').index(SPLITS[number])}")
    write_text(root / "list_attr_celeba.csv", "\n".join(attributes) + "\n")
    write_text(root / "list_eval_partition.csv", "\n".join(partition) + "\n")


def pickle_names(path, names, protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(names, protocol=protocol))


def write_mm_celeba_hq(root):
    for number in range(NUM_IMAGES):
        write_picture(root / "image" / "images" / f"{number}.jpg", number)
        captions = [f"the face {number} , said {place} times" for place in range(10)]
        write_text(root / "text" / "celeba-caption" / f"{number}.txt", "\n".join(captions) + "\n\n")
    pickle_names(root / "train" / "filenames.pickle", [str(number) for number in range(6)])
    pickle_names(root / "test" / "filenames.pickle", ["6", "7"])


def write_celeba_dialog(root):
    captions, rows = {}, []
    for number in range(NUM_IMAGES):
        write_picture(root / "image" / f"{number}.jpg", number)
        parts = {"Bangs": "no bangs", "Smiling": "a smile"}
        captions[f"{number}.jpg"] = {"attribute_wise_captions": parts, "overall_caption": f"Face {number} smiles."}
        rows.append(f"{number}.jpg {number % 6} 0 1 2 3")
    write_picture(root / "image" / "5380.jpg", 5380)  # which has no caption in the data set either
    write_text(root / "text" / "captions_hq.json", json.dumps(captions))
    write_text(root / "classification_label" / "combined_annotation_hq.txt", "\n".join(rows) + "\n")


def write_ffhq_text(root):
    for number in range(NUM_IMAGES):
        write_picture(root / "Image" / f"{number:05d}.png", number)
        write_text(root / "Text" / f"{number:05d}.txt", "\n".join(f"face {number}, {place}" for place in range(9)))
    pickle_names(root / "Train" / "filenames.pkl", [f"{number:05d}" for number in range(6)])
    pickle_names(root / "Test" / "filenames.pkl", ["00006", "00007"])


def write_folder(root):
    for number in range(NUM_IMAGES):
        write_picture(root / "a" / f"{number}.png", number)


# Name -> (format, writer, captions an image).
LAYOUTS = {
    "imagefolder": ("imagefolder", write_imagefolder, 1),
    "csv": ("csv", write_csv, 1),
    "sidecar": ("sidecar", write_sidecar, 2),
    "webdataset": ("webdataset", write_webdataset, 1),
    "coco": ("coco", write_coco, 2),
    "flickr8k": ("flickr8k", write_flickr8k, 5),
    "flickr8k of Kaggle": ("flickr8k", write_flickr8k_of_kaggle, 2),
    "face2text": ("face2text", write_face2text, 2),
    "face2text-2.1": ("face2text-2.1", write_face2text_21, 2),
    "lfw": ("lfw", write_lfw, 5),
    "celeba": ("celeba", write_celeba, 5),
    "celeba of Kaggle": ("celeba", write_celeba_of_kaggle, 5),
    "mm-celeba-hq": ("mm-celeba-hq", write_mm_celeba_hq, 10),
    "celeba-dialog": ("celeba-dialog", write_celeba_dialog, 1),
    "ffhq-text": ("ffhq-text", write_ffhq_text, 9),
    "folder": ("folder", write_folder, 0),
}
